package main

import (
	"context"
	"os"
	"path/filepath"
)

const (
	licensePath = "licenses/LICENSE"
	noticesPath = "licenses/THIRD_PARTY_NOTICES"
	sbomPath    = "sbom/" + name + ".cdx.json"
	rootsPath   = "etc/ssl/certs/ca-certificates.crt"
)

// describe puts beside the binary what its users are to know of it, and what it
// needs to run by itself.
func (b *builder) describe(ctx context.Context, p platform) error {
	modules, err := b.modules(ctx, p)
	if err != nil {
		return err
	}
	all, err := judge(modules)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(b.root, "LICENSE"))
	if err != nil {
		return err
	}
	bill, err := b.billOfMaterials(ctx, p, all)
	if err != nil {
		return err
	}
	if err := write(b.named(p.file()+".cdx.json"), bill, 0o644); err != nil {
		return err
	}
	contents := map[string][]byte{licensePath: license, noticesPath: notices(all), sbomPath: bill}
	if p.os == "linux" {
		contents[rootsPath] = caRoots()
	}
	for path, content := range contents {
		if err := write(b.rootfs(p, filepath.FromSlash(path)), content, 0o644); err != nil {
			return err
		}
	}
	if p.os != "linux" {
		return nil
	}
	return b.makeTemporary(p)
}

// makeTemporary makes the folder for temporary files, which a check writes.
func (b *builder) makeTemporary(p platform) error {
	folder := b.rootfs(p, "tmp")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chmod(folder, 0o777|os.ModeSticky)
}

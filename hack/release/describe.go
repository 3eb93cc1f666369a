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
func (b *builder) describe(ctx context.Context, arch string) error {
	modules, err := b.modules(ctx, arch)
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
	bill, err := b.billOfMaterials(ctx, arch, all)
	if err != nil {
		return err
	}
	if err := write(b.named(goos+"_"+arch+".cdx.json"), bill, 0o644); err != nil {
		return err
	}
	for path, content := range map[string][]byte{
		licensePath: license, noticesPath: notices(all), sbomPath: bill, rootsPath: caRoots(),
	} {
		if err := write(b.rootfs(arch, filepath.FromSlash(path)), content, 0o644); err != nil {
			return err
		}
	}
	return b.makeTemporary(arch)
}

// makeTemporary makes the folder for temporary files, which a check writes.
func (b *builder) makeTemporary(arch string) error {
	folder := b.rootfs(arch, "tmp")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chmod(folder, 0o777|os.ModeSticky)
}

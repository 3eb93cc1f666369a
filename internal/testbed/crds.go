package testbed

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// copyCRDs copies the YAML files of the snapshot API's definitions out of their
// module, since the module cache may be cleaned while the parts stay.
func copyCRDs(ctx context.Context, p Part, target string) error {
	out, err := goRun(ctx, p, "mod", "download", "-json", p.Package)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return fmt.Errorf("build %s: answer of go mod download: %w", p.Name, err)
	}
	files, err := filepath.Glob(filepath.Join(module.Dir, "config", "crd", "*snapshot*.yaml"))
	if err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	if len(files) == 0 {
		return fmt.Errorf("build %s: no definitions in %s/config/crd", p.Name, module.Dir)
	}
	if err := os.Mkdir(target, 0o755); err != nil {
		return fmt.Errorf("build %s: %w", p.Name, err)
	}
	for _, file := range files {
		if err := copyFile(file, filepath.Join(target, filepath.Base(file))); err != nil {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

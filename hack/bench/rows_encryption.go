package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// encryptionGroups move 1 GiB encrypted, beside the same plugin without
// encryption.
func encryptionGroups() []group {
	return []group{
		{"encryption", func(ctx context.Context, b *bench) ([]row, error) {
			s3, err := b.server(ctx, servers()[0], false)
			if err != nil {
				return nil, err
			}
			moved, err := b.measureEncrypted(ctx, location(s3), "1 GiB", b.pick(2, 5))
			if err != nil {
				return nil, err
			}
			peaks, err := b.measureEncryptedPeaks(ctx, location(s3))
			return append(moved, peaks...), err
		}},
		{"encryption https", func(ctx context.Context, b *bench) ([]row, error) {
			s3, err := b.server(ctx, servers()[0], true)
			if err != nil {
				return nil, err
			}
			return b.measureEncrypted(ctx, location(s3), "1 GiB, https", b.pick(2, 5))
		}},
		{"encryption link 20ms", func(ctx context.Context, b *bench) ([]row, error) {
			return b.overLink(ctx, 20*time.Millisecond, func(config map[string]string) ([]row, error) {
				return b.measureEncrypted(ctx, config, "1 GiB, round trip of 20ms", b.pick(1, 3))
			})
		}},
	}
}

func (b *bench) measureEncrypted(ctx context.Context, config map[string]string, label string, rounds int) ([]row, error) {
	encrypting, err := b.encrypting(config)
	if err != nil {
		return nil, err
	}
	all, err := openAll(encrypting, b.ours)
	if err != nil {
		return nil, err
	}
	defer all.close()
	plain, err := openAll(config, b.plain)
	if err != nil {
		return nil, err
	}
	defer plain.close()
	rows, err := transfer{label: label, size: gibibyte, count: 1, rounds: rounds, processor: true}.measure(ctx, append(all, plain...))
	return besidePlain(rows), err
}

// measureEncryptedPeaks reads the most memory that a fresh process has.
func (b *bench) measureEncryptedPeaks(ctx context.Context, config map[string]string) ([]row, error) {
	encrypting, err := b.encrypting(config)
	if err != nil {
		return nil, err
	}
	configs := map[string]map[string]string{ours: encrypting, plainly: config}
	var rows []row
	for _, stage := range peaks {
		rows = append(rows, row{Name: stage.name, Unit: "MB"})
	}
	rows, err = inTurn(ctx, b.pick(1, 2), sessions{{program: b.ours}, {program: b.plain}}, rows, func(s *session, _ int) ([]float64, error) {
		return s.program.lead(configs[s.program.name], peaks)
	})
	return besidePlain(rows), err
}

// encrypting is the config with keys of its own.
func (b *bench) encrypting(config map[string]string) (map[string]string, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.bed.Dir(), "identity-"+identity.Recipient().String())
	if err := os.WriteFile(file, []byte(identity.String()+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("keep the private key: %w", err)
	}
	config = maps.Clone(config)
	config["encryptionRecipients"], config["encryptionIdentityFile"] = identity.Recipient().String(), file
	return config, nil
}

func besidePlain(rows []row) []row {
	for i := range rows {
		rows[i].Rival = plainly
	}
	return rows
}

package account

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/config"
)

// file is the credentials file that the location or velero install names.
func (s *sdk) file() string {
	if s.settings.CredentialsFile != "" {
		return s.settings.CredentialsFile
	}
	return os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
}

func (s *sdk) profile() string {
	if s.settings.Profile != "" {
		return s.settings.Profile
	}
	if profile := os.Getenv("AWS_PROFILE"); profile != "" {
		return profile
	}
	return config.DefaultSharedConfigProfile
}

// paths are the files that the credentials may come from.
func (s *sdk) paths() []string {
	paths := []string{s.file(), os.Getenv("AWS_CONFIG_FILE"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".aws", "config"), filepath.Join(home, ".aws", "credentials"))
	}
	return paths
}

// stamp changes when the content of a file does. Velero writes its files again
// and again with the same content.
type stamp [sha256.Size]byte

func stampOf(paths []string) stamp {
	all := sha256.New()
	for _, path := range paths {
		content, _ := os.ReadFile(path)
		fmt.Fprintf(all, "%d;%s;", len(content), content)
	}
	return stamp(all.Sum(nil))
}

package testbed

import (
	"context"
	"path/filepath"
)

// S3Server is a kind of S3 server: the program and how to run it.
type S3Server struct {
	Name string
	Part Part
	// Program is the server's path within a part that is a folder, else empty.
	Program string
	// Prepare starts what the server needs beside it, if that is anything. The
	// names of those processes begin with Name and a hyphen.
	Prepare func(ctx context.Context, b *Bed, r S3Run) error
	// Ports is how many ports the server needs beside that of its address.
	Ports int
	// Command returns the arguments and the environment for a run. The server
	// must listen on Address only, and use https if CertDir is not empty.
	Command func(r S3Run) (args, env []string)
	// Outside returns the files that a run makes outside the bed, if it makes any.
	Outside func(r S3Run) []string
}

// S3Run is what a server is told.
type S3Run struct {
	// Name is that of the server's process.
	Name string
	// Part is the path of the server's part.
	Part string
	// Address is 127.0.0.1:PORT, not yet known to Prepare.
	Address string
	// Ports are free ports of 127.0.0.1, also not yet known to Prepare.
	Ports  []int
	Region string
	// AccessKey and SecretKey are those of the server's first user.
	AccessKey, SecretKey string
	// DataDir is for the objects, VersionsDir for old versions if versioning is
	// asked for, else empty.
	DataDir, VersionsDir string
	// MetaDir is for what the server keeps about the objects, if DataDir is a file
	// system that may be full or without attributes; else it is empty.
	MetaDir string
	// CertDir holds public.crt and private.key for https, else it is empty.
	CertDir string
}

// VersityGateway is VersityGW over a folder, Apache-2.0.
var VersityGateway = S3Server{Name: "versitygw", Part: VersityGW, Command: versityCommand}

func versityCommand(r S3Run) (args, env []string) {
	args = []string{"--port", r.Address, "--region", r.Region}
	if r.CertDir != "" {
		args = append(args, "--cert", filepath.Join(r.CertDir, "public.crt"), "--key", filepath.Join(r.CertDir, "private.key"))
	}
	args = append(args, "posix")
	if r.VersionsDir != "" {
		args = append(args, "--versioning-dir", r.VersionsDir)
	}
	if r.MetaDir != "" {
		args = append(args, "--sidecar", r.MetaDir)
	}
	return append(args, r.DataDir), []string{"ROOT_ACCESS_KEY=" + r.AccessKey, "ROOT_SECRET_KEY=" + r.SecretKey}
}

// MinIOServer is MinIO over a folder, AGPL-3.
var MinIOServer = S3Server{Name: "minio", Part: MinIO, Command: minioCommand}

func minioCommand(r S3Run) (args, env []string) {
	args = []string{"server", "--quiet", "--address", r.Address}
	if r.CertDir != "" {
		args = append(args, "--certs-dir", r.CertDir)
	}
	return append(args, r.DataDir), []string{
		"MINIO_ROOT_USER=" + r.AccessKey, "MINIO_ROOT_PASSWORD=" + r.SecretKey,
		"MINIO_REGION=" + r.Region, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
	}
}

// S3Servers are the kinds of S3 server there are.
func S3Servers() []S3Server { return []S3Server{VersityGateway, MinIOServer} }

package testbed

import "path/filepath"

// Rclone is the program behind RcloneServer.
var Rclone = Part{
	Name: "rclone", Module: "hack/tools/rclone",
	Package: "github.com/rclone/rclone", versionOf: "github.com/rclone/rclone",
}

// RcloneServer is `rclone serve s3` over a folder, MIT.
var RcloneServer = S3Server{Name: "rclone", Part: Rclone, Command: rcloneCommand}

func rcloneCommand(r S3Run) (args, env []string) {
	args = []string{"serve", "s3", "--addr", r.Address, "--auth-key", r.AccessKey + "," + r.SecretKey}
	if r.CertDir != "" {
		args = append(args, "--cert", filepath.Join(r.CertDir, "public.crt"), "--key", filepath.Join(r.CertDir, "private.key"))
	}
	return append(args, r.DataDir), []string{"RCLONE_CONFIG=" + filepath.Join(r.DataDir, ".no-config")}
}

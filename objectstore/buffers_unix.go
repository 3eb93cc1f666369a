//go:build unix

package objectstore

import "syscall"

func allocate(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func free(bytes []byte) {
	if err := syscall.Munmap(bytes); err != nil {
		panic("objectstore: free a part's buffer: " + err.Error())
	}
}

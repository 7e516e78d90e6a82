package peer

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-mesh/shoal"
)

func TestLoadIdentityIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "identity")
	ids := make([]shoal.NodeID, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := LoadIdentity(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = id.ID()
		})
	}
	wg.Wait()
	for i := range ids {
		if ids[i] != ids[0] || !strings.HasPrefix(string(ids[i]), "12D3Koo") {
			t.Errorf("LoadIdentity number %d = %q, want %q", i, ids[i], ids[0])
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("Stat(key) = %v, %v, want mode 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("ReadDir = %v, %v, want the key alone", left, err)
	}
}

func TestLoadIdentityRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := LoadIdentity(good); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		data []byte
		mode os.FileMode
		want string
	}{
		{"wide", key, 0o644, "chmod 600"},
		{"group", key, 0o640, "chmod 600"},
		{"empty", nil, 0o600, "EOF"},
		{"text", []byte("hello"), 0o600, "not a PEM file"},
		{"cut", key[:len(key)/2], 0o600, "not a PEM file"},
		{"other", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600, "parse the key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			if err := os.WriteFile(path, tt.data, tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadIdentity(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("LoadIdentity(%s) = %v, want an error with %q and the path", tt.name, err, tt.want)
			}
			after, err := os.ReadFile(path)
			if err != nil || string(after) != string(tt.data) {
				t.Errorf("the refused file was changed: %v", err)
			}
		})
	}
	if _, err := LoadIdentity(dir); err == nil {
		t.Error("LoadIdentity(a directory) = nil, want an error")
	}
}

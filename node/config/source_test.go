package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	tests := []struct {
		ufs  string
		want Source // zero: an error
	}{
		{"s3://train", Source{Bucket: "train"}},
		{"s3://train/", Source{Bucket: "train"}},
		{"s3://train/a/b/", Source{Bucket: "train", Prefix: "a/b"}},
		{"s3://train//a/../b.", Source{Bucket: "train", Prefix: "b."}},
		{"s3://train/../../x", Source{Bucket: "train", Prefix: "x"}},
		{"file:///nas", Source{Dir: "/nas"}},
		{"file:///nas/../x/", Source{Dir: "/x"}},
		{"file:///", Source{Dir: "/"}},
		{"file://nas", Source{}},
		{"file:nas", Source{}},
		{"s3:///x", Source{}},
		{"s3://key:secret@train", Source{}},
		{"s3://train?x=y", Source{}},
		{"hdfs://nn:8020/models", Source{}},
		{"ftp://x", Source{}},
		{"/nas", Source{}},
		{"", Source{}},
		{"%", Source{}},
	}
	for _, tt := range tests {
		got, err := Mount{UFS: tt.ufs}.Source()
		if got != tt.want || (err != nil) != (tt.want == Source{}) {
			t.Errorf("Source(%q) = %+v, %v, want %+v", tt.ufs, got, err, tt.want)
		}
	}
}

func TestSecret(t *testing.T) {
	file := writeFile(t, "  a secret of some length\n")
	none := func(string) (string, bool) { return "", false }
	tests := []struct {
		name   string
		file   string
		getenv func(string) (string, bool)
		want   string // "": an error
	}{
		{"file", file, none, "a secret of some length"},
		{"environment first", file, environ, "0123456789abcdef"},
		{"environment alone", "", environ, "0123456789abcdef"},
		{"none", "", none, ""},
		{"short", writeFile(t, "short"), none, ""},
		{"empty", writeFile(t, " \n"), none, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Config{Cluster: Cluster{SecretFile: tt.file}}
			got, err := c.Secret(tt.getenv)
			if string(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("Secret() = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestKeysAndToken(t *testing.T) {
	if access, secret, err := (S3{}).Keys(); access != "" || secret != "" || err != nil {
		t.Errorf("Keys() without files = %q, %q, %v, want nothing", access, secret, err)
	}
	s := S3{AccessKeyFile: writeFile(t, "AK\n"), SecretKeyFile: writeFile(t, "SK\n")}
	if access, secret, err := s.Keys(); access != "AK" || secret != "SK" || err != nil {
		t.Errorf("Keys() = %q, %q, %v, want AK, SK", access, secret, err)
	}
	s.SecretKeyFile += ".missing"
	_, _, err := s.Keys()
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "s3.secret_key_file") {
		t.Errorf("Keys() with a missing file: %v, want fs.ErrNotExist with the key", err)
	}
	c := &Config{}
	if token, err := c.AdminToken(); token != "" || err != nil {
		t.Errorf("AdminToken() without a file = %q, %v, want none", token, err)
	}
	c.Admin.TokenFile = writeFile(t, "tok\n")
	if token, err := c.AdminToken(); token != "tok" || err != nil {
		t.Errorf("AdminToken() = %q, %v, want tok", token, err)
	}
}

// writeFile returns the name of a new file that holds text.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

package config

import (
	"errors"
	"fmt"
	"os"
)

// Load reads the file name and returns its Config, after defaults and environment
// variables. The error joins one line for each violation.
func Load(name string) (*Config, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is named once
		}
		return nil, fmt.Errorf("config: read %s: %w; name an existing file with --config", name, err)
	}
	return Parse(name, data, os.LookupEnv)
}

// Parse returns the Config that data holds. name stands for it in errors. getenv looks
// up an environment variable as os.LookupEnv does, and its secret too (see
// Config.Secret): a Config without any secret is a violation.
func Parse(name string, data []byte, getenv func(string) (string, bool)) (*Config, error) {
	cfg := Defaults()
	doc := newDocument(name, data, getenv)
	if doc.decode(cfg) {
		cfg.settle()
		newChecker(doc).check(cfg)
	}
	if err := doc.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

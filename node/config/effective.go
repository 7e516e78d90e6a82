package config

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Effective returns c as the YAML of a config file, every field with its value in use.
// Parse makes the same Config of it. It holds no secrets, only the names of the files
// that do.
func (c *Config) Effective() ([]byte, error) {
	durations := yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(short(d)), nil })
	text, err := yaml.MarshalWithOptions(c, yaml.Indent(2), yaml.IndentSequence(true), durations)
	if err != nil {
		return nil, fmt.Errorf("config: print: %w", err)
	}
	var out bytes.Buffer
	out.WriteString("# The config in use. Secrets are not shown: they are in the files named here,\n")
	out.WriteString("# or in the environment.\n")
	// What looks like a reference was written $${ in the file.
	out.Write(bytes.ReplaceAll(text, []byte("${"), []byte("$${")))
	return out.Bytes(), nil
}

// EffectiveJSON returns what Effective does, as a JSON object.
func (c *Config) EffectiveJSON() ([]byte, error) {
	text, err := c.Effective()
	if err != nil {
		return nil, err
	}
	object, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("config: print as JSON: %w", err)
	}
	return object, nil
}

// short returns d as a person writes it: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

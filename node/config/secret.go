package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// SecretEnv is the environment variable that may hold the cluster's secret.
const SecretEnv = "SHOAL_CLUSTER_SECRET"

// minSecret is the length in bytes of the shortest cluster secret taken.
const minSecret = 16

// Secret returns the cluster's secret, from the environment variable SecretEnv if that
// is set and else from Cluster.SecretFile, without white space around it. getenv is
// os.LookupEnv but in tests.
func (c *Config) Secret(getenv func(string) (string, bool)) ([]byte, error) {
	if value, ok := getenv(SecretEnv); ok && value != "" {
		return checkSecret([]byte(value), SecretEnv)
	}
	if c.Cluster.SecretFile == "" {
		return nil, fmt.Errorf("cluster.secret_file: not set, and %s is empty; give one of them, the same secret on every node", SecretEnv)
	}
	secret, err := readSecret("cluster.secret_file", c.Cluster.SecretFile)
	if err != nil {
		return nil, err
	}
	return checkSecret(secret, "cluster.secret_file: "+c.Cluster.SecretFile)
}

func checkSecret(secret []byte, from string) ([]byte, error) {
	secret = bytes.TrimSpace(secret)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("%s: the secret has %d bytes, less than %d; make one with: head -c 32 /dev/urandom | base64", from, len(secret), minSecret)
	}
	return secret, nil
}

// AdminToken returns the token the admin API asks callers on TCP for, "" if none.
func (c *Config) AdminToken() (string, error) {
	if c.Admin.TokenFile == "" {
		return "", nil
	}
	token, err := readSecret("admin.token_file", c.Admin.TokenFile)
	return string(token), err
}

// Keys returns the S3 keys the files hold, or two empty strings if no files are named
// and the chain of the AWS tools is to be used.
func (s S3) Keys() (accessKey, secretKey string, err error) {
	if s.AccessKeyFile == "" {
		return "", "", nil
	}
	access, err := readSecret("s3.access_key_file", s.AccessKeyFile)
	if err != nil {
		return "", "", err
	}
	secret, err := readSecret("s3.secret_key_file", s.SecretKeyFile)
	if err != nil {
		return "", "", err
	}
	return string(access), string(secret), nil
}

// readSecret returns what the file that key names holds, without white space around it.
func readSecret(key, name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the path is named once
		}
		return nil, fmt.Errorf("%s: read %s: %w; make the file, readable by the agent", key, name, err)
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil, fmt.Errorf("%s: %s is empty; write the secret into it", key, name)
	}
	return data, nil
}

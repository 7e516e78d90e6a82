package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-mesh/shoal/node/config"
	"github.com/shoal-mesh/shoal/ufs"
	"github.com/shoal-mesh/shoal/ufs/local"
	"github.com/shoal-mesh/shoal/ufs/s3"
)

// openUFS returns the driver of a configured mount, once the UFS has answered.
func openUFS(ctx context.Context, m config.Mount, logger *slog.Logger) (ufs.FS, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	source, err := m.Source()
	if err != nil {
		return nil, err
	}
	if source.Dir != "" {
		driver, err := local.New(source.Dir, local.Config{})
		if err != nil {
			return nil, err
		}
		return driver, driver.Check(ctx)
	}
	accessKey, secretKey, err := m.S3.Keys()
	if err != nil {
		return nil, err
	}
	pathStyle := m.S3.PathStyle()
	driver, err := s3.New(ctx, s3.Config{
		Bucket: source.Bucket, Prefix: source.Prefix, Endpoint: m.S3.Endpoint, Region: m.S3.Region,
		PathStyle: &pathStyle, AccessKey: accessKey, SecretKey: secretKey, Logger: logger.With("part", "s3"),
	})
	if err != nil {
		return nil, err
	}
	if err := driver.Check(ctx); err != nil {
		return nil, errors.Join(err, closeUFS(driver)())
	}
	return driver, nil
}

// closeUFS returns what ends a driver; those that keep nothing open have no Close.
func closeUFS(driver ufs.FS) func() error {
	if c, ok := driver.(io.Closer); ok {
		return c.Close
	}
	return func() error { return nil }
}

// diskSize returns the size in bytes of the file system that holds dir.
func diskSize(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Blocks) * st.Bsize, nil
}

// CheckUFS reports whether the UFS of a configured mount answers.
func CheckUFS(ctx context.Context, m config.Mount) error {
	driver, err := openUFS(ctx, m, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return closeUFS(driver)()
}

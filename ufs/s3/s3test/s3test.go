// Package s3test is the yardstick of package s3: the AWS SDK's own parallel downloader, as
// any program that only wants the file would use it. Benchmarks run it beside Shoal.
package s3test

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// Config says where an object is and how its server is reached. Every field is required.
// It can be written as JSON, for a child process.
type Config struct {
	Endpoint             string // "http://host:port"; objects are at endpoint/bucket/key
	Region               string
	Bucket               string
	AccessKey, SecretKey string
}

// Download writes the object key to w and returns its length in bytes. Part size (8 MiB),
// concurrency (5), HTTP client, retries and checksums are what the SDK chooses.
//
// One thing is not: the SDK would ask for the parts the object was uploaded in, and so take
// an object that was uploaded in one part over one connection. Here it is told to split
// objects into ranges, so that it is parallel whichever way they came.
func Download(ctx context.Context, cfg Config, key string, w io.WriterAt) (int64, error) {
	client := awss3.New(awss3.Options{
		Region: cfg.Region, BaseEndpoint: &cfg.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey, ""),
	})
	manager := transfermanager.New(client, func(o *transfermanager.Options) { o.GetObjectType = types.GetObjectRanges })
	out, err := manager.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: &cfg.Bucket, Key: &key, WriterAt: w})
	if err != nil {
		return 0, fmt.Errorf("download %s from bucket %s: %w", key, cfg.Bucket, err)
	}
	return aws.ToInt64(out.ContentLength), nil
}

package ufstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Put writes an object through the server, which so knows its ETag. (Files put into
// Dir behind its back are served too, but have none.)
func (s *Server) Put(t testing.TB, bucket, key string, data []byte) {
	t.Helper()
	if err := s.Do(http.MethodPut, bucket, key, data); err != nil {
		t.Fatal(err)
	}
}

// Remove deletes an object through the server.
func (s *Server) Remove(t testing.TB, bucket, key string) {
	t.Helper()
	if err := s.Do(http.MethodDelete, bucket, key, nil); err != nil {
		t.Fatal(err)
	}
}

// Do sends one signed request and expects it to succeed. It exists so that tests
// outside ufs/s3 need no S3 library.
func (s *Server) Do(method, bucket, key string, data []byte) error {
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		return err
	}
	target = &url.URL{
		Scheme: target.Scheme, Host: target.Host,
		Path: "/" + bucket + "/" + key, RawPath: "/" + bucket + "/" + escape(key),
	}
	req, err := http.NewRequest(method, target.String(), bytes.NewReader(data))
	if err != nil {
		return err
	}
	s.sign(req, data, time.Now().UTC())
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s/%s: %s: %s", method, bucket, key, resp.Status, body)
	}
	return nil
}

// sign adds an AWS Signature Version 4.
func (s *Server) sign(req *http.Request, data []byte, now time.Time) {
	const names = "host;x-amz-content-sha256;x-amz-date"
	digest := sha256.Sum256(data)
	sum, stamp := hex.EncodeToString(digest[:]), now.Format("20060102T150405Z")
	req.Header.Set("X-Amz-Content-Sha256", sum)
	req.Header.Set("X-Amz-Date", stamp)
	canonical := strings.Join([]string{
		req.Method, req.URL.EscapedPath(), "",
		"host:" + req.URL.Host, "x-amz-content-sha256:" + sum, "x-amz-date:" + stamp, "",
		names, sum,
	}, "\n")
	scope := strings.Join([]string{stamp[:8], s.Region, "s3", "aws4_request"}, "/")
	digest = sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, scope, hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + s.SecretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		s.AccessKey, scope, names, hex.EncodeToString(mac(key, text))))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// escape encodes a key as S3 wants it in a path: all but unreserved characters and "/".
func escape(key string) string {
	var b strings.Builder
	for _, c := range []byte(key) {
		unreserved := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0
		if unreserved {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

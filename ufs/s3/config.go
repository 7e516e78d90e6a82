package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shoal-mesh/shoal/ufs"
)

// Config holds the settings of an FS. A zero field means its default.
type Config struct {
	// Bucket is required.
	Bucket string
	// Prefix limits the FS to the keys below it. Default: the whole bucket. Slashes at
	// its ends do not matter.
	Prefix string
	// Endpoint is the server's URL, "http://10.0.0.5:9000": no credentials, no path, no
	// query. Default: AWS, in Region.
	Endpoint string
	// Region signs the requests. Default: what the environment of the AWS tools says,
	// if AccessKey is not set, and us-east-1 otherwise.
	Region string
	// PathStyle asks for http://endpoint/bucket/key instead of http://bucket.endpoint/key.
	// Default: true if Endpoint is set.
	PathStyle *bool
	// AccessKey and SecretKey sign the requests, with SessionToken if they are temporary.
	// Default: what the AWS tools would use: environment, shared files, instance role.
	AccessKey, SecretKey, SessionToken string
	// Anonymous asks without a signature, for public buckets.
	Anonymous bool

	// Attempts is how often a request is made before its failure counts. Default 4.
	Attempts int
	// Resumes is how often one stream goes on where its connection broke. Default 4.
	Resumes int
	// MaxBackoff limits the wait before a request is made again. Default 5s.
	MaxBackoff time.Duration
	// ConnectTimeout limits the making of a connection. Default 5s.
	ConnectTimeout time.Duration
	// HeaderTimeout limits the wait for an answer to begin. Default 10s.
	HeaderTimeout time.Duration
	// StallTimeout limits the wait for the next bytes of a stream. Default 15s.
	StallTimeout time.Duration
	// LagTimeout limits the wait for an answer to a GET to begin, and for the next bytes of a
	// stream, while others are brought theirs: the request is made again then, once for its
	// beginning and Resumes/2 times for its bytes. Fifty requests are cut so, and one more for
	// every ten streams that end well. Default 2s.
	LagTimeout time.Duration
	// CallTimeout limits a Stat, a page of a List, or the wait for the bytes of an Open
	// to begin, with all attempts and what slows them down. Default 30s.
	CallTimeout time.Duration
	// IdleConns is how many connections are kept for the next requests. Default 64.
	IdleConns int
	// Logger receives a line for each stream that is resumed, and, at debug level, for
	// requests made again before their answer began and keys that listings leave out. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	c.Prefix = strings.Trim(c.Prefix, "/")
	c.Endpoint = strings.TrimRight(c.Endpoint, "/")
	if c.PathStyle == nil {
		c.PathStyle = aws.Bool(c.Endpoint != "")
	}
	var errs []error
	if c.Bucket == "" || strings.Contains(c.Bucket, "/") {
		errs = append(errs, fmt.Errorf("bucket %q: want a bucket's name", c.Bucket))
	}
	if err := ufs.CheckName(c.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("prefix: %w", err))
	}
	errs = append(errs, checkEndpoint(c.Endpoint))
	if (c.AccessKey == "") != (c.SecretKey == "") {
		errs = append(errs, errors.New("access key and secret key: want both or none"))
	}
	if c.Anonymous && c.AccessKey != "" {
		errs = append(errs, errors.New("anonymous and access key: want one of them"))
	}
	for _, n := range []struct {
		name  string
		value *int
		def   int
	}{{"attempts", &c.Attempts, 4}, {"resumes", &c.Resumes, 4}, {"idle conns", &c.IdleConns, 64}} {
		errs = append(errs, setDefault(n.name, n.value, n.def))
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"max backoff", &c.MaxBackoff, 5 * time.Second},
		{"connect timeout", &c.ConnectTimeout, 5 * time.Second},
		{"header timeout", &c.HeaderTimeout, 10 * time.Second},
		{"stall timeout", &c.StallTimeout, 15 * time.Second},
		{"lag timeout", &c.LagTimeout, 2 * time.Second},
		{"call timeout", &c.CallTimeout, 30 * time.Second},
	} {
		errs = append(errs, setDefault(d.name, d.value, d.def))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// checkEndpoint returns what is wrong with an endpoint. It becomes a part of file IDs,
// errors and logs, so it must hold no secret; nor does the error repeat one.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case strings.Contains(endpoint, "@"):
		return errors.New("endpoint (not shown, it may hold a secret): credentials in it: put them into access key and secret key")
	case strings.ContainsAny(endpoint, "?#"):
		return errors.New("endpoint (not shown, it may hold a secret): a query in it: want http://host:port or https://host:port")
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("endpoint %q: want http://host:port or https://host:port", endpoint)
	case u.Path != "":
		return fmt.Errorf("endpoint %q: a path in it: want http://host:port or https://host:port", endpoint)
	}
	return nil
}

func setDefault[T int | time.Duration](name string, value *T, def T) error {
	if *value == 0 {
		*value = def
	}
	if *value < 0 {
		return fmt.Errorf("%s: %v is negative", name, *value)
	}
	return nil
}

// address returns what FS.Address does. Whether the endpoint is asked by http or https
// does not change what it has.
func address(c Config) string {
	a := "s3://" + c.Bucket
	if c.Prefix != "" {
		a += "/" + c.Prefix
	}
	if _, host, ok := strings.Cut(c.Endpoint, "://"); ok {
		a += "@" + host
	}
	return a
}

// newHTTPClient returns a client made for many large answers from one host.
func newHTTPClient(c Config, p *pulse, b *budget) *http.Client {
	var http1 http.Protocols
	http1.SetHTTP1(true) // one connection's loss window must not hold up all streams
	dialer := &net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		Protocols:             &http1,
		MaxIdleConnsPerHost:   c.IdleConns,
		IdleConnTimeout:       60 * time.Second,
		TLSHandshakeTimeout:   c.ConnectTimeout,
		ResponseHeaderTimeout: c.HeaderTimeout,
		// A reader of blocks brings larger buffers of its own, which are filled past this one.
		ReadBufferSize:     16 << 10,
		DisableCompression: true, // a file is the bytes S3 stores
	}
	return &http.Client{
		Transport: &hurried{Transport: transport, lag: c.LagTimeout, pulse: p, budget: b, log: c.Logger},
		// A redirect names another region, for which the signature is wrong.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newClient returns the SDK's client as this package wants it.
func newClient(ctx context.Context, c Config, h *http.Client) (*awss3.Client, error) {
	var provider aws.CredentialsProvider
	region := c.Region
	switch {
	case c.Anonymous:
		provider = aws.AnonymousCredentials{}
	case c.AccessKey != "":
		provider = credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)
	default:
		chain, err := awsconfig.LoadDefaultConfig(ctx)
		if err != nil {
			return nil, fmt.Errorf("settings of the AWS tools: %w", err)
		}
		provider = aws.NewCredentialsCache(credentialsProvider{chain.Credentials})
		if region == "" {
			region = chain.Region
		}
	}
	if region == "" {
		region = "us-east-1"
	}
	options := awss3.Options{
		AppID: "shoal", Region: region, Credentials: provider, HTTPClient: h, UsePathStyle: *c.PathStyle,
		Retryer: newRetryer(c),
		// S3's checksums are of whole objects: for ranges the SDK asks for them and
		// then cannot compare, and some servers refuse the question. Chunk sums
		// guard the bytes from here on, TLS up to here.
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
	}
	if c.Endpoint != "" {
		options.BaseEndpoint = &c.Endpoint
	}
	return awss3.New(options), nil
}

// newRetryer returns the SDK's adaptive mode: a request that fails is made again, as
// long as a bucket of retry tokens for the whole FS has some, and when the server says
// to slow down, all requests of the FS slow down.
func newRetryer(c Config) aws.Retryer {
	tokens := ratelimit.NewTokenRateLimit(retry.DefaultRetryRateTokens)
	return &retryer{tokens: tokens, AdaptiveMode: retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
		o.Throttles = append(o.Throttles, retry.IsErrorThrottleFunc(isThrottle))
		o.StandardOptions = append(o.StandardOptions, func(s *retry.StandardOptions) {
			s.RateLimiter = tokens
			s.MaxAttempts = c.Attempts
			s.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
				return backoff(attempt, c.MaxBackoff), nil
			})
		})
	})}
}

// A retryer earns tokens with requests that go well, as the SDK's standard mode does and its adaptive
// mode does not: there, after one outage, hardly any request would ever be made again.
type retryer struct {
	*retry.AdaptiveMode
	tokens *ratelimit.TokenRateLimit
}

// GetAttemptToken implements aws.RetryerV2.
func (r *retryer) GetAttemptToken(ctx context.Context) (release func(error) error, err error) {
	adapt, err := r.AdaptiveMode.GetAttemptToken(ctx)
	if err != nil {
		return nil, err
	}
	return func(failed error) error {
		if failed == nil {
			_ = r.tokens.AddTokens(retry.DefaultNoRetryIncrement) // never fails
		}
		return adapt(failed)
	}, nil
}

// isThrottle adds to the codes the SDK knows for "slow down": those of MinIO, status 429,
// and what AWS calls its 503 where no code can be, in an answer to HEAD. Any other 503 is
// an ordinary failure, tried again: it is what a load balancer says that has no server
// left, and would bring the whole FS down to a request every two seconds. A server that
// is overloaded says so with a code to a GET or a LIST soon enough.
func isThrottle(err error) aws.Ternary {
	var api smithy.APIError
	if errors.As(err, &api) && strings.HasPrefix(api.ErrorCode(), "SlowDown") {
		return aws.TrueTernary // SlowDownRead, SlowDownWrite
	}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return aws.UnknownTernary
	}
	status := answer.HTTPStatusCode()
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && strings.HasSuffix(answer.Response.Status, " Slow Down") {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// backoff returns a wait before the attempt after attempt number n: at random between
// half and all of 50 ms that double with each attempt, up to limit.
func backoff(n int, limit time.Duration) time.Duration {
	wait := min(limit, 50*time.Millisecond<<min(n, 20))
	return wait/2 + rand.N(wait/2+1)
}

// credentialsProvider marks the errors of finding credentials, which the SDK does not.
type credentialsProvider struct{ aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (p credentialsProvider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return creds, &credentialsError{err}
	}
	return creds, nil
}

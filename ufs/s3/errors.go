package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shoal-mesh/shoal/ufs"
)

// errRange reports a range the file does not have, or has not any more.
var errRange = errors.New("range not satisfiable")

// faultError is an error of S3, or of the way to it, in this package's words.
type faultError struct {
	kind  error  // the error callers branch on; nil if there is none
	cause string // what went wrong
	cure  string // what an operator can do about it; may be empty
}

// Error implements error.
func (e *faultError) Error() string {
	if e.kind == nil {
		return e.cause
	}
	return e.cause + ": " + e.kind.Error()
}

// Unwrap returns the error callers branch on.
func (e *faultError) Unwrap() error { return e.kind }

// credentialsError is an error of finding credentials.
type credentialsError struct{ err error }

// Error implements error.
func (e *credentialsError) Error() string { return e.err.Error() }

// Unwrap returns what the provider said.
func (e *credentialsError) Unwrap() error { return e.err }

// wrap says what was done to which name, and translates the SDK's error, unless the
// caller's context ended: then that is the answer.
func (f *FS) wrap(ctx context.Context, op, name string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	} else {
		err = faultOf(err)
	}
	return fmt.Errorf("%s %q in %s: %w", op, name, f.address, err)
}

// faultOf translates the SDK's errors. It is the only such table of this package.
func faultOf(err error) *faultError {
	var fault *faultError
	var noCredentials *credentialsError
	var api smithy.APIError
	var deserialization *smithy.DeserializationError
	status := statusOf(err)
	switch {
	case errors.As(err, &fault):
		return fault
	case errors.As(err, &noCredentials):
		return &faultError{
			kind: fs.ErrPermission, cause: "no credentials: " + err.Error(),
			cure: "give the mount an access key and a secret key, or the agent those of the AWS tools, or an instance role",
		}
	case errors.As(err, &api) && status < 500:
		return apiFault(api, status)
	case status != 0:
		return statusFault(err, status)
	case errors.As(err, &deserialization):
		return &faultError{kind: ufs.ErrUnavailable, cause: "answer is not S3's: " + root(err), cure: "check that the endpoint is an S3 server's"}
	}
	return networkFault(err)
}

// apiFault translates an answer with a code. HEAD makes one of the status.
func apiFault(api smithy.APIError, status int) *faultError {
	cause := fmt.Sprintf("%s (%d)", api.ErrorCode(), status)
	if m := api.ErrorMessage(); m != "" && m != api.ErrorCode() {
		cause = fmt.Sprintf("%s: %s (%d)", api.ErrorCode(), m, status)
	}
	switch api.ErrorCode() {
	case "NoSuchBucket":
		return &faultError{ufs.ErrUnavailable, "the bucket does not exist: " + cause, "create the bucket or correct its name"}
	case "NoSuchKey", "NotFound":
		return &faultError{fs.ErrNotExist, cause, ""}
	case "InvalidAccessKeyId", "XAdminUserNotFound": // the second is versitygw's, with 404
		return &faultError{fs.ErrPermission, cause, "the server does not know the access key: correct it"}
	case "SignatureDoesNotMatch":
		return &faultError{fs.ErrPermission, cause, "the secret key is not the access key's: correct it"}
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return &faultError{fs.ErrPermission, cause, "renew the temporary credentials"}
	case "RequestTimeTooSkewed":
		return &faultError{fs.ErrPermission, cause, "set this machine's clock right"}
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return &faultError{nil, cause, "set the mount's region to the bucket's"}
	case "SlowDown", "RequestTimeout", "Throttling", "TooManyRequests":
		return &faultError{ufs.ErrUnavailable, cause, "the server is overloaded: try again later"}
	}
	return statusFault(errors.New(cause), status)
}

// statusFault translates an answer by its status alone.
func statusFault(err error, status int) *faultError {
	cause := root(err)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return &faultError{fs.ErrPermission, cause, "allow the access key to list the bucket and to read its objects (s3:ListBucket, s3:GetObject)"}
	case status == http.StatusNotFound: // of what? not of a key, which has a code
		return &faultError{ufs.ErrUnavailable, cause, "check that the endpoint is an S3 server's"}
	case status == http.StatusPreconditionFailed:
		return &faultError{ufs.ErrVersion, cause, ""}
	case status == http.StatusRequestedRangeNotSatisfiable:
		return &faultError{errRange, cause, ""}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return &faultError{ufs.ErrUnavailable, cause, "the server fails or is overloaded: see its log, try again later"}
	case status/100 == 3:
		return &faultError{nil, cause, "set the mount's endpoint and region to the bucket's"}
	}
	return &faultError{nil, cause, ""}
}

// networkFault translates the lack of an answer.
func networkFault(err error) *faultError {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	fault := &faultError{kind: ufs.ErrUnavailable, cause: "no answer: " + root(err)}
	switch {
	case errors.As(err, &dns):
		fault.cure = "check the endpoint's host name and this machine's DNS"
	case errors.As(err, &unknown), errors.As(err, &wrongName):
		fault.cure = "check the endpoint's host name, or add its certificate authority to this machine's"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		fault.cure = "the endpoint speaks http, not https"
	default:
		fault.cure = "check the endpoint's address, that the server runs, and the network to it"
	}
	return fault
}

// statusOf returns the HTTP status of an answer that is an error, 0 if there was none.
func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// root returns the text of an error without what the SDK puts before it.
func root(err error) string {
	var request *smithyhttp.RequestSendError
	var operation *smithy.OperationError
	switch {
	case errors.As(err, &request):
		return request.Err.Error()
	case errors.As(err, &operation):
		return operation.Err.Error()
	}
	return err.Error()
}

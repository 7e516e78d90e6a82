package s3

import (
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func TestIsThrottle(t *testing.T) {
	tests := []struct {
		status int
		line   string // the answer's first line after the version
		code   string
		want   aws.Ternary
	}{
		{503, "503 Service Unavailable", "SlowDown", aws.TrueTernary},
		{503, "503 Service Unavailable", "SlowDownRead", aws.TrueTernary},
		{429, "429 Too Many Requests", "", aws.TrueTernary},
		{503, "503 Slow Down", "ServiceUnavailable", aws.TrueTernary}, // HEAD: the SDK makes a code of the status
		{503, "503 Service Unavailable", "ServiceUnavailable", aws.UnknownTernary},
		{503, "503 Service Unavailable", "", aws.UnknownTernary},
		{500, "500 Internal Server Error", "InternalError", aws.UnknownTernary},
	}
	for _, tt := range tests {
		err := error(&smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: tt.status, Status: tt.line}},
			Err:      &smithy.GenericAPIError{Code: tt.code},
		})
		if got := isThrottle(err); got != tt.want {
			t.Errorf("isThrottle(%s, code %q) = %v, want %v", tt.line, tt.code, got, tt.want)
		}
	}
	if got := isThrottle(errors.New("no route to host")); got != aws.UnknownTernary {
		t.Errorf("isThrottle(no answer) = %v, want unknown", got)
	}
}

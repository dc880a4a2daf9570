package hearth

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Violation is a field of the request that is at fault, and how.
type Violation struct {
	Field, Problem string
}

// Failure is a call that failed, its google.rpc details decoded.
type Failure struct {
	Code    codes.Code
	Message string
	// Reason is a name of hearth.v1.ErrorReason without its prefix; empty where no server said it.
	Reason     string
	Violations []Violation
	// RetryAfter says when to come back; 0 where the server names no time.
	RetryAfter time.Duration
	// RequestID is by which the server's log has the call.
	RequestID string
}

// Error is the status in words.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s: %s", f.Code, f.Message)
}

// FailureOf is the failure that an error of a call stands for; details that cannot be read are left out.
func FailureOf(err error) *Failure {
	said := status.Convert(err)
	failure := &Failure{Code: said.Code(), Message: said.Message()}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "hearth" {
				failure.Reason, failure.RequestID = detail.GetReason(), detail.GetMetadata()["request_id"]
			}
		case *errdetails.BadRequest:
			for _, each := range detail.GetFieldViolations() {
				failure.Violations = append(failure.Violations, Violation{each.GetField(), each.GetDescription()})
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay()
			failure.RetryAfter = time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos())
		}
	}
	return failure
}

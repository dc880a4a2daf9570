// Streams a steered chat: chat ADDRESS [FEATURE [STRENGTH [KEY]]]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	hearth "hearth.local/client"
	pb "hearth.local/client/hearthv1"
)

func main() {
	// Ctrl-C ends the generation on the server too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := chat(ctx); err != nil {
		failure := hearth.FailureOf(err)
		fmt.Fprintln(os.Stderr, failure)
		for _, violation := range failure.Violations {
			fmt.Fprintf(os.Stderr, "  %s: %s\n", violation.Field, violation.Problem)
		}
		if failure.RetryAfter > 0 {
			fmt.Fprintf(os.Stderr, "  try again in %s\n", failure.RetryAfter)
		}
		os.Exit(1)
	}
}

func chat(ctx context.Context) error {
	feature, err := strconv.ParseUint(argument(2, "114"), 10, 32)
	if err != nil {
		return err
	}
	strength, err := strconv.ParseFloat(argument(3, "0.5"), 32)
	if err != nil {
		return err
	}
	connection, err := hearth.Dial(ctx, argument(1, "localhost:50051"), hearth.Options{Key: argument(4, "")})
	if err != nil {
		return err
	}
	defer connection.Close()

	temperature, most := float32(0), uint32(40)
	question := &pb.ChatMessage{Role: pb.Role_ROLE_USER, Content: "What did you do this weekend?"}
	stream, err := pb.NewInferenceServiceClient(connection).Generate(ctx, &pb.GenerateRequest{
		Prompt: &pb.Prompt{Input: &pb.Prompt_Chat{Chat: &pb.Chat{Messages: []*pb.ChatMessage{question}}}},
		Steering: &pb.Steering{Edits: []*pb.Edit{{
			Feature:   &pb.FeatureKey{Index: uint32(feature)},
			Operation: &pb.Edit_Nudge{Nudge: float32(strength)},
		}}},
		Sampling: &pb.Sampling{Temperature: &temperature, MaxTokens: &most},
	})
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Print(event.GetDelta().GetText())
	}
}

func argument(number int, unless string) string {
	if number < len(os.Args) {
		return os.Args[number]
	}
	return unless
}

// Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.
// Prints the message's id and status; ends with 0 when it was delivered. Needs Go 1.19 or newer, and no module: go run send.go
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

type attachment struct {
	Filename string `json:"filename"`
	Content  string `json:"content"`
}

type message struct {
	From        string       `json:"from"`
	To          []string     `json:"to"`
	Subject     string       `json:"subject"`
	Text        string       `json:"text"`
	Tags        []string     `json:"tags,omitempty"`
	Attachments []attachment `json:"attachments,omitempty"`
}

// What both answers have.
type state struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

var client = &http.Client{Timeout: 30 * time.Second}

// Answers the status, the headers and the body; an error when no answer came.
func call(method, path string, body []byte, key string) (int, http.Header, []byte, error) {
	request, err := http.NewRequest(method, os.Getenv("MAILWRIGHT_URL")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("MAILWRIGHT_KEY"))
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, text, err
}

// Sends a message once: what may have been lost on the way is repeated under the same key.
func send(what message, key string) (state, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return state{}, err
	}
	var trouble error
	for _, wait := range []int{1, 2, 4, 8, 0} {
		status, headers, text, err := call("POST", "/v1/send", body, key)
		if err != nil {
			trouble = err
		} else if status == http.StatusAccepted {
			var accepted state
			return accepted, json.Unmarshal(text, &accepted)
		} else {
			trouble = fmt.Errorf("%s", text)
			if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
				break
			}
			if asked, err := strconv.Atoi(headers.Get("Retry-After")); err == nil && wait > 0 {
				wait = asked
			}
		}
		time.Sleep(time.Duration(wait) * time.Second)
	}
	return state{}, fmt.Errorf("not sent: %w", trouble)
}

func main() {
	log.SetFlags(0)
	what := message{
		From:    "Example Shop <shop@example.com>",
		To:      []string{"ada@example.net"},
		Subject: "Your receipt",
		Text:    "Thank you for your order.",
		Tags:    []string{"receipt"},
	}
	if len(os.Args) > 1 {
		content, err := os.ReadFile(os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		what.Attachments = []attachment{{filepath.Base(os.Args[1]), base64.StdEncoding.EncodeToString(content)}}
	}
	// The key names what the message is about, so that it is sent once: in your program the order's number, for example.
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		log.Fatal(err)
	}
	read, err := send(what, fmt.Sprintf("example-%x", random))
	if err != nil {
		log.Fatal(err)
	}
	for tries := 0; tries < 120; tries++ {
		status, _, text, err := call("GET", "/v1/messages/"+read.ID, nil, "")
		if err != nil || status != http.StatusOK {
			log.Fatalf("not read: %v %s", err, text)
		}
		if err := json.Unmarshal(text, &read); err != nil {
			log.Fatal(err)
		}
		if read.Status != "queued" && read.Status != "sending" {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	fmt.Println(read.ID, read.Status)
	if read.Status != "delivered" {
		os.Exit(1)
	}
}

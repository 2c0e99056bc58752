// A sign-up by mail, tested: mailwright dev --ephemeral -- go test signup_test.go
// Needs Go 1.19 or newer, and no module.
package signup

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// Calls the service; fails the test when the answer is a problem.
func call(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequest(method, os.Getenv("MAILWRIGHT_URL")+path, &content)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("MAILWRIGHT_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}

type mail struct {
	ID    string   `json:"id"`
	Text  string   `json:"text"`
	HTML  string   `json:"html"`
	Codes []string `json:"codes"`
	Links []string `json:"links"`
}

// Waits for the newest mail to an address with these words in its subject.
func waitForMail(t *testing.T, to, subject string) mail {
	t.Helper()
	query := url.Values{"to": {to}, "subject": {subject}, "wait": {"10s"}, "limit": {"1"}}
	var copies struct {
		Data []mail `json:"data"`
	}
	call(t, "GET", "/v1/sandbox/messages?"+query.Encode(), nil, &copies)
	if len(copies.Data) == 0 {
		t.Fatalf("no mail to %s within 10 seconds", to)
	}
	var read mail
	call(t, "GET", "/v1/sandbox/messages/"+copies.Data[0].ID, nil, &read)
	return read
}

func random(t *testing.T) int64 {
	t.Helper()
	number, err := rand.Int(rand.Reader, big.NewInt(900_000))
	if err != nil {
		t.Fatal(err)
	}
	return 100_000 + number.Int64()
}

// Stands for your application: sends a code, and gives it, and the message's id.
func signUp(t *testing.T, address string) (code, id string) {
	t.Helper()
	code = fmt.Sprint(random(t))
	var accepted struct {
		ID string `json:"id"`
	}
	call(t, "POST", "/v1/send", map[string]any{
		"from":    "Example Shop <shop@example.com>",
		"to":      []string{address},
		"subject": "Your code",
		"text":    fmt.Sprintf("Your code is %s. It is good for ten minutes.", code),
	}, &accepted)
	return code, accepted.ID
}

func TestTheCodeOfTheMailConfirmsTheAddress(t *testing.T) {
	t.Parallel()
	// An address for each test: tests can run side by side, and nobody has to empty the inbox.
	address := fmt.Sprintf("ada+%d@example.test", random(t))
	code, _ := signUp(t, address)
	read := waitForMail(t, address, "code")
	if !strings.Contains(read.Text, "ten minutes") || len(read.Codes) != 1 || read.Codes[0] != code {
		t.Fatalf("%+v", read)
	}
}

func TestAnAddressThatBounces(t *testing.T) {
	t.Parallel()
	_, id := signUp(t, fmt.Sprintf("bounced+%d@example.test", random(t)))
	var message struct {
		Status     string
		Recipients []struct{ Status string }
	}
	for tries := 0; tries < 100 && message.Status != "failed"; tries++ {
		time.Sleep(100 * time.Millisecond)
		call(t, "GET", "/v1/messages/"+id, nil, &message)
	}
	if message.Status != "failed" || message.Recipients[0].Status != "bounced" {
		t.Fatalf("%+v", message)
	}
}

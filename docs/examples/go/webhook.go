// Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program.
// Prints the event's type and the message's id; ends with 1 when the webhook is not the service's. Needs Go 1.19 or newer.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

type event struct {
	Type string `json:"type"`
	Data struct {
		MessageID string `json:"message_id"`
	} `json:"data"`
}

// Answers the event of a webhook that the service sent, an error for any other. The body is what came, byte for byte.
func verify(secret, id, timestamp, signatures string, body []byte) (event, error) {
	var told event
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return told, err
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	wanted := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	isOurs := false
	// There may be several signatures, while one secret replaces another.
	for _, given := range strings.Split(signatures, " ") {
		isOurs = isOurs || hmac.Equal([]byte(given), []byte(wanted))
	}
	if !isOurs {
		return told, errors.New("the signature is wrong")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age > 5*time.Minute || age < -5*time.Minute {
		return told, errors.New("the webhook is too old")
	}
	return told, json.Unmarshal(body, &told)
}

func main() {
	log.SetFlags(0)
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	told, err := verify(os.Getenv("MAILWRIGHT_WEBHOOK_SECRET"), os.Getenv("HTTP_WEBHOOK_ID"),
		os.Getenv("HTTP_WEBHOOK_TIMESTAMP"), os.Getenv("HTTP_WEBHOOK_SIGNATURE"), body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(told.Type, told.Data.MessageID)
}

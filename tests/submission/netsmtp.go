// Sends mail with Go's net/smtp. Prints a line of JSON for each case.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"time"
)

var (
	host     = os.Getenv("SMTP_HOST")
	plain    = net.JoinHostPort(host, os.Getenv("SMTP_PLAIN_PORT"))
	starttls = net.JoinHostPort(host, os.Getenv("SMTP_STARTTLS_PORT"))
	implicit = net.JoinHostPort(host, os.Getenv("SMTP_TLS_PORT"))
	user     = os.Getenv("SMTP_USER")
	auth     = smtp.PlainAuth("", user, os.Getenv("SMTP_KEY"), host)
	ann      = []string{"ann@example.net"}
	hello    = []byte("Hello\r\n")
)

const from = "shop@example.org"

// net/smtp sends bytes: the header is the program's to write.
func message(subject string, to []string, contentType, encoding string, body []byte) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "From: %s <%s>\r\n", mime.QEncoding.Encode("utf-8", "Jürgen Müller"), from)
	fmt.Fprintf(&text, "To: %s\r\n", strings.Join(to, ",\r\n "))
	fmt.Fprintf(&text, "Subject: %s\r\n", mime.QEncoding.Encode("utf-8", "go "+subject))
	fmt.Fprintf(&text, "Date: %s\r\n", time.Now().Format(time.RFC1123Z))
	fmt.Fprintf(&text, "MIME-Version: 1.0\r\nContent-Type: %s\r\n", contentType)
	fmt.Fprintf(&text, "Content-Transfer-Encoding: %s\r\n\r\n", encoding)
	text.Write(body)
	return text.Bytes()
}

func text(subject string, to []string, body []byte) []byte {
	// A line of mail is 998 octets at most; quoted-printable breaks longer ones.
	var encoded bytes.Buffer
	writer := quotedprintable.NewWriter(&encoded)
	writer.Write(body)
	writer.Close()
	return message(subject, to, "text/plain; charset=utf-8", "quoted-printable", encoded.Bytes())
}

// SendMail does STARTTLS wherever it is offered.
func send(address, subject string, to []string, body []byte) error {
	return smtp.SendMail(address, auth, from, to, text(subject, to, body))
}

func overTLS() error {
	connection, err := tls.Dial("tcp", implicit, nil)
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(connection, host)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Auth(auth); err != nil {
		return err
	}
	_, err = transaction(client, "tls", ann)
	return err
}

// transaction sends a message by its parts: SendMail gives up at the first refused recipient, this goes on.
func transaction(client *smtp.Client, subject string, to []string) (refused []string, err error) {
	if err := client.Mail(from); err != nil {
		return nil, err
	}
	for _, address := range to {
		if err := client.Rcpt(address); err != nil {
			refused = append(refused, address)
		}
	}
	writer, err := client.Data()
	if err != nil {
		return refused, err
	}
	if _, err := writer.Write(text(subject, to, hello)); err != nil {
		return refused, err
	}
	if err := writer.Close(); err != nil {
		return refused, err
	}
	return refused, client.Quit()
}

func attachment() error {
	data := make([]byte, 200_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	var inner, outer bytes.Buffer
	alternative := multipart.NewWriter(&inner)
	part(alternative, "text/plain; charset=utf-8", nil, []byte("Your order is attached.\r\n"))
	part(alternative, "text/html; charset=utf-8", nil, []byte("<p>Your order is <b>attached</b>.</p>\r\n"))
	alternative.Close()
	mixed := multipart.NewWriter(&outer)
	part(mixed, "multipart/alternative; boundary="+alternative.Boundary(), nil, inner.Bytes())
	part(mixed, "application/octet-stream", textproto.MIMEHeader{
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": "Grüße.bin"})},
		"Content-Transfer-Encoding": {"base64"},
	}, wrapped(base64.StdEncoding.EncodeToString(data)))
	mixed.Close()
	mail := message("attachment", ann, "multipart/mixed; boundary="+mixed.Boundary(), "7bit", outer.Bytes())
	return smtp.SendMail(starttls, auth, from, ann, mail)
}

func part(writer *multipart.Writer, contentType string, header textproto.MIMEHeader, body []byte) {
	if header == nil {
		header = textproto.MIMEHeader{}
	}
	header.Set("Content-Type", contentType)
	created, _ := writer.CreatePart(header)
	created.Write(body)
}

func wrapped(text string) []byte {
	var lines bytes.Buffer
	for ; len(text) > 76; text = text[76:] {
		lines.WriteString(text[:76] + "\r\n")
	}
	lines.WriteString(text + "\r\n")
	return lines.Bytes()
}

func partial() ([]string, error) {
	client, err := connect(true)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := client.Auth(auth); err != nil {
		return nil, err
	}
	return transaction(client, "partial", []string{"good@example.net", "nobody@localhost"})
}

func connect(secure bool) (*smtp.Client, error) {
	client, err := smtp.Dial(starttls)
	if err == nil && secure {
		err = client.StartTLS(&tls.Config{ServerName: host})
	}
	return client, err
}

// PlainAuth sends a password without TLS to localhost alone.
func noTLS() error {
	client, err := connect(false)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Auth(auth)
}

// xoauth2 is a mechanism that net/smtp lacks.
type xoauth2 struct{ token string }

func (a xoauth2) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + user + "\x01auth=Bearer " + a.token + "\x01\x01"), nil
}

// Next answers the reason of a refusal with an empty line.
func (a xoauth2) Next([]byte, bool) ([]byte, error) {
	return nil, nil
}

func oauth() error {
	token := os.Getenv("SMTP_TOKEN")
	if token == "" {
		return unsupported("SMTP_TOKEN is empty")
	}
	return smtp.SendMail(starttls, xoauth2{token}, from, ann, text("oauth", ann, hello))
}

type unsupported string

func (why unsupported) Error() string { return string(why) }

type result struct {
	Case    string   `json:"case"`
	Outcome string   `json:"outcome"`
	Refused []string `json:"refused,omitempty"`
	Code    *int     `json:"code,omitempty"`
	Text    string   `json:"text,omitempty"`
	Why     string   `json:"why,omitempty"`
}

func report(name string, refused []string, err error) {
	said := result{Case: name, Outcome: "accepted", Refused: refused}
	var reply *textproto.Error
	var why unsupported
	switch {
	case errors.As(err, &why):
		said = result{Case: name, Outcome: "unsupported", Why: string(why)}
	case errors.As(err, &reply):
		said = result{Case: name, Outcome: "refused", Code: &reply.Code, Text: reply.Msg}
	case err != nil:
		said = result{Case: name, Outcome: "refused", Code: new(int), Text: err.Error()}
	}
	line, _ := json.Marshal(said)
	fmt.Println(string(line))
}

func main() {
	// Where Go looks for the authorities that it trusts.
	os.Setenv("SSL_CERT_FILE", os.Getenv("SMTP_CA"))

	fifty := make([]string, 50)
	for i := range fifty {
		fifty[i] = fmt.Sprintf("r%d@example.net", i)
	}
	report("starttls", nil, send(starttls, "starttls", ann, hello))
	report("tls", nil, overTLS())
	report("attachment", nil, attachment())
	report("many", nil, send(starttls, "many", fifty, hello))
	report("unicode", nil, send(starttls, "Grüße 你好", ann, []byte("Grüße 你好, 😀\r\n")))
	report("eai", nil, send(starttls, "eai", []string{"jürgen@example.net"}, hello))
	refused, err := partial()
	report("partial", refused, err)
	wrong := smtp.PlainAuth("", user, "mw_live_wrong", host)
	report("wrong-password", nil, smtp.SendMail(starttls, wrong, from, ann, text("wrong-password", ann, hello)))
	report("no-tls", nil, noTLS())
	dots := ".\r\n..\r\n.leading\r\n" + strings.Repeat("A long paragraph. ", 300) + "\r\n"
	report("dots", nil, send(plain, "dots", ann, []byte(dots)))
	report("oauth", nil, oauth())
}

# Sends mail with Ruby's Net::SMTP. Prints a line of JSON for each case.
require "json"
require "net/smtp"

HOST = ENV.fetch("SMTP_HOST")
PLAIN = Integer(ENV.fetch("SMTP_PLAIN_PORT"))
STARTTLS = Integer(ENV.fetch("SMTP_STARTTLS_PORT"))
TLS = Integer(ENV.fetch("SMTP_TLS_PORT"))
USER = ENV.fetch("SMTP_USER")
KEY = ENV.fetch("SMTP_KEY")
TOKEN = ENV.fetch("SMTP_TOKEN", "")

FROM = "shop@example.org"

def connect(port, key: KEY, starttls: port == STARTTLS && :always, &block)
  smtp = Net::SMTP.new(HOST, port, tls: port == TLS, starttls:, ssl_context_params: { ca_file: ENV.fetch("SMTP_CA") })
  smtp.debug_output = $stderr if ENV.key?("SMTP_DEBUG")
  smtp.start(helo: "localhost", user: key && USER, secret: key, &block)
end

# Net::SMTP sends text: the header is the program's to write.
def encoded(text)
  text.ascii_only? ? text : "=?UTF-8?B?#{[text].pack("m0")}?="
end

def message(subject, body, to:, type:, encoding:)
  <<~HEADER + body
    From: #{encoded("Jürgen Müller")} <#{FROM}>
    To: #{to.join(",\n ")}
    Subject: #{encoded("ruby #{subject}")}
    Date: #{Time.now.strftime("%a, %d %b %Y %H:%M:%S %z")}
    MIME-Version: 1.0
    Content-Type: #{type}
    Content-Transfer-Encoding: #{encoding}

  HEADER
end

# A line of mail is 998 octets at most; quoted-printable breaks longer ones.
def text(subject, body = "Hello\n", to: ["ann@example.net"])
  message(subject, [body].pack("M"), to:, type: "text/plain; charset=UTF-8", encoding: "quoted-printable")
end

def send_it(port, subject, body = "Hello\n", to: ["ann@example.net"], **options)
  connect(port, **options) { |smtp| smtp.send_message(text(subject, body, to:), FROM, *to) }
end

def attachment
  data = (0...200_000).map { |i| i * 7 % 256 }.pack("C*")
  body = <<~PARTS
    --outer
    Content-Type: multipart/alternative; boundary=inner

    --inner
    Content-Type: text/plain; charset=UTF-8

    Your order is attached.

    --inner
    Content-Type: text/html; charset=UTF-8

    <p>Your order is <b>attached</b>.</p>

    --inner--
    --outer
    Content-Type: application/octet-stream
    Content-Disposition: attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.bin
    Content-Transfer-Encoding: base64

    #{[data].pack("m").strip}
    --outer--
  PARTS
  to = ["ann@example.net"]
  mail = message("attachment", body, to:, type: "multipart/mixed; boundary=outer", encoding: "7bit")
  connect(STARTTLS) { |smtp| smtp.send_message(mail, FROM, *to) }
end

# SMTPUTF8 is a parameter that the program adds to the sender's address.
def eai
  to = "jürgen@example.net"
  from = Net::SMTP::Address.new(FROM, "SMTPUTF8")
  connect(STARTTLS) { |smtp| smtp.send_message(text("eai", to: [to]), from, to) }
end

# send_message gives up at the first refused recipient; by its parts, it goes on.
def partial
  to = ["good@example.net", "nobody@localhost"]
  refused = []
  connect(STARTTLS) do |smtp|
    smtp.mailfrom(FROM)
    to.each do |address|
      smtp.rcptto(address)
    rescue Net::SMTPFatalError
      refused << address
    end
    smtp.data(text("partial", to:))
  end
  { refused: }
end

def oauth
  return { outcome: "unsupported", why: "SMTP_TOKEN is empty" } if TOKEN.empty?

  connect(STARTTLS, key: nil) do |smtp|
    said = ["user=#{USER}\x01auth=Bearer #{TOKEN}\x01\x01"].pack("m0")
    reply = smtp.send(:get_response, "AUTH XOAUTH2 #{said}")
    # The reason of a refusal is answered with an empty line.
    reply = smtp.send(:get_response, "") if reply.continue?
    raise Net::SMTPAuthenticationError, reply unless reply.success?

    smtp.send_message(text("oauth"), FROM, "ann@example.net")
  end
end

CASES = {
  "starttls" => -> { send_it(STARTTLS, "starttls") },
  "tls" => -> { send_it(TLS, "tls") },
  "attachment" => -> { attachment },
  "many" => -> { send_it(STARTTLS, "many", to: (0...50).map { |i| "r#{i}@example.net" }) },
  "unicode" => -> { send_it(STARTTLS, "Grüße 你好", "Grüße 你好, 😀\n") },
  "eai" => -> { eai },
  "partial" => -> { partial },
  "wrong-password" => -> { send_it(STARTTLS, "wrong-password", key: "mw_live_wrong") },
  "no-tls" => -> { send_it(STARTTLS, "no-tls", starttls: false) },
  "dots" => -> { send_it(PLAIN, "dots", ".\n..\n.leading\n#{"A long paragraph. " * 300}\n") },
  "oauth" => -> { oauth },
}

CASES.each do |name, run|
  warn "ruby: #{name}"
  result = begin
    told = run.call
    { outcome: "accepted", **(told.is_a?(Hash) ? told : {}) }
  rescue Net::SMTPError => error
    code, text = error.message.strip.match(/\A(?:(\d{3})[ -])?(.*)\z/m).captures
    { outcome: "refused", code: code.to_i, text: }
  end
  puts JSON.generate({ case: name, **result })
end

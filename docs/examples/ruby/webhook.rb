# Verifies a webhook: its body is the input, its headers are in the environment as a web server hands them to a CGI program (and Rack to an
# application). Prints the event's type and the message's id; ends with 1 when the webhook is not the service's. Needs Ruby 2.7 or newer.
require "json"
require "openssl"

# The event of a webhook that the service sent; raises for any other. `body` is what came, byte for byte.
def verify(secret, id, timestamp, signatures, body)
  key = secret.delete_prefix("whsec_").unpack1("m0")
  wanted = "v1,#{[OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{timestamp}.".b + body)].pack("m0")}"
  # There may be several signatures, while one secret replaces another.
  raise "the signature is wrong" unless signatures.split.any? { |given| OpenSSL.secure_compare(given, wanted) }
  raise "the webhook is too old" if (Time.now.to_i - Integer(timestamp, 10)).abs > 300

  JSON.parse(body)
end

begin
  headers = %w[ID TIMESTAMP SIGNATURE].map { |name| ENV.fetch("HTTP_WEBHOOK_#{name}") }
  event = verify(ENV.fetch("MAILWRIGHT_WEBHOOK_SECRET"), *headers, $stdin.binmode.read)
rescue StandardError => e
  abort e.message
end
puts "#{event["type"]} #{event["data"]["message_id"]}"

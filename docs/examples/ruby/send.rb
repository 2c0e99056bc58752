# Sends a message, with the file of the first argument attached if there is one, and waits for what becomes of it.
# Prints the message's id and status; ends with 0 when it was delivered. Needs Ruby 2.7 or newer, and no gem.
require "json"
require "net/http"
require "securerandom"

URL, KEY = ENV.fetch("MAILWRIGHT_URL"), ENV.fetch("MAILWRIGHT_KEY")
FINAL = %w[delivered partially_delivered failed cancelled].freeze

def call(method, path, body = nil, headers = {})
  uri = URI(URL + path)
  request = method.new(uri, headers.merge("Authorization" => "Bearer #{KEY}", "Content-Type" => "application/json"))
  request.body = JSON.generate(body) if body
  options = { use_ssl: uri.scheme == "https", open_timeout: 10, read_timeout: 30, max_retries: 0 }
  Net::HTTP.start(uri.host, uri.port, **options) { |http| http.request(request) }
end

# Sends a message once: what may have been lost on the way is repeated under the same key.
def send_once(message, key)
  trouble = nil
  [1, 2, 4, 8, nil].each do |wait|
    asked = nil
    begin
      answer = call(Net::HTTP::Post, "/v1/send", message, "Idempotency-Key" => key)
      return JSON.parse(answer.body) if answer.code == "202"

      trouble = answer.body
      break unless %w[429 503].include?(answer.code)

      asked = answer["retry-after"]
    rescue SystemCallError, IOError, Timeout::Error, SocketError => e
      trouble = e.message # no answer came
    end
    sleep(Integer(asked || wait)) if wait
  end
  abort "not sent: #{trouble}"
end

message = {
  from: "Example Shop <shop@example.com>",
  to: ["ada@example.net"],
  subject: "Your receipt",
  text: "Thank you for your order.",
  tags: ["receipt"]
}
if (file = ARGV.first)
  message[:attachments] = [{ filename: File.basename(file), content: [File.binread(file)].pack("m0") }]
end
# The key names what the message is about, so that it is sent once: in your program the order's number, for example.
id = send_once(message, "example-#{SecureRandom.uuid}").fetch("id")

status = nil
120.times do
  status = JSON.parse(call(Net::HTTP::Get, "/v1/messages/#{id}").body)["status"]
  break if FINAL.include?(status)

  sleep 0.5
end
puts "#{id} #{status}"
exit status == "delivered"

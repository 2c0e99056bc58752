# An order and its receipt in one transaction: what is rolled back sends nothing, what commits is sent.
# Prints the message's id and status; ends with 0 when it was delivered. Needs the gems activerecord (6.1 or newer, as
# Rails has it) and pg. DATABASE_URL is the application's own, of a role that `mailwright outbox grant` named.
require "active_record"
require "json"
require "net/http"

URL, KEY = ENV.fetch("MAILWRIGHT_URL"), ENV.fetch("MAILWRIGHT_KEY")
MODE = KEY.start_with?("mw_test_") ? "test" : "live"
FINAL = %w[delivered partially_delivered failed cancelled].freeze

ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:orders, if_not_exists: true) do |t|
    t.string :customer, null: false
    t.integer :cents, null: false
  end
end

# Mail that belongs to the transaction that enqueues it.
module Outbox
  # Gives the message's id. The key lets a job that runs twice send once.
  def self.enqueue(message, key: nil)
    sql = "SELECT mailwright.enqueue($1::jsonb, mode => $2, idempotency_key => $3)"
    ActiveRecord::Base.connection.raw_connection.exec_params(sql, [JSON.generate(message), MODE, key]).getvalue(0, 0)
  end
end

class Order < ActiveRecord::Base
  attr_reader :receipt

  after_create do
    @receipt = Outbox.enqueue({
      from: "Example Shop <shop@example.com>",
      to: [customer],
      subject: "Your receipt for order #{id}",
      text: "Thank you. We have charged #{format('%.2f', cents / 100.0)} EUR.",
      tags: ["receipt"]
    }, key: "order-#{id}-receipt")
  end
end

def status_of(id)
  uri = URI("#{URL}/v1/messages/#{id}")
  Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") do |http|
    answer = http.get(uri.path, "Authorization" => "Bearer #{KEY}")
    answer.code == "404" ? "unknown" : JSON.parse(answer.body).fetch("status")
  end
end

lost = nil
Order.transaction do
  lost = Order.create!(customer: "nobody@example.net", cents: 100).receipt
  raise ActiveRecord::Rollback # the card was declined, say
end

order = Order.transaction { Order.create!(customer: "ada@example.net", cents: 1999) }

# What is no message does not get that far, and takes the transaction with it.
begin
  Order.transaction { Order.create!(customer: "no address", cents: 1) }
  abort "a faulty message was taken"
rescue ActiveRecord::StatementInvalid, PG::Error => e
  abort e.message unless e.message.include?("/to/0")
end

status = nil
120.times do
  status = status_of(order.receipt)
  break if FINAL.include?(status)

  sleep 0.5
end
puts "#{order.receipt} #{status}"
exit status == "delivered" && status_of(lost) == "unknown" && Order.where(customer: "ada@example.net").exists?

# Build: the release binary. The toolchain's version is the one in Cargo.toml's rust-version.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY clients/rust/Cargo.toml clients/rust/
# Dependencies first, so that a change of ours does not build them again.
RUN mkdir src benches clients/rust/src && echo 'fn main() {}' | tee src/main.rs > benches/pieces.rs && touch src/lib.rs clients/rust/src/lib.rs \
    && cargo build --release --locked && rm -rf src
COPY .sqlx .sqlx
COPY migrations migrations
COPY openapi.yaml ./
COPY docs/llms.txt docs/
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

# Run: no toolchain, no shell needed, an unprivileged user.
FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="Mailwright" \
      org.opencontainers.image.description="Self-hosted transactional email: one binary, one Postgres" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/target/release/mailwright /usr/local/bin/mailwright
USER 65532:65532
ENV MAILWRIGHT_HTTP__LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["mailwright", "healthcheck"]
ENTRYPOINT ["mailwright"]
CMD ["serve"]

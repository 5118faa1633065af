# One static binary in an empty image:
#   docker build --build-arg GGUF_CONV_COMMIT="$(git rev-parse --short=10 HEAD)" -t gguf-conv .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/models" gguf-conv DRAFTER -o drafter.gguf
FROM rust:1-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /source
COPY . .
ARG GGUF_CONV_COMMIT
RUN cargo build --locked --release

FROM scratch
COPY --from=build /source/target/release/gguf-conv /usr/local/bin/gguf-conv
WORKDIR /models
ENTRYPOINT ["/usr/local/bin/gguf-conv"]

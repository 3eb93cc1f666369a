# The image that Velero's init container runs: it copies the plugin into the
# volume that Velero reads its plugins from.
FROM golang:1.26 AS build
ARG VERSION=unknown
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /velero-plugin-longshore .

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /velero-plugin-longshore /plugins/
USER 65532:65532
ENTRYPOINT ["/plugins/velero-plugin-longshore", "install"]

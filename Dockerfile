# The image that Velero's init container runs: it copies the plugin into the
# folder that Velero reads its plugins from. Velero itself starts the plugin,
# within its own image.
#
# `make image` needs no container engine and does not read this file. It is for
# those who build with one, from the same contents: first `make image`, then
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=... .
#
# Beside the plugin the image holds the certificates of the usual authorities and
# a folder for temporary files. They are for people who run the image by itself,
# for instance a check as a Job.
FROM scratch
ARG TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
COPY dist/image/rootfs/linux-${TARGETARCH}/ /
LABEL org.opencontainers.image.title="Longshore" \
      org.opencontainers.image.description="Velero plugin: backups on any S3-compatible storage, volume snapshots with any CSI driver" \
      org.opencontainers.image.url="https://github.com/longshore-dev/velero-plugin" \
      org.opencontainers.image.source="https://github.com/longshore-dev/velero-plugin" \
      org.opencontainers.image.documentation="https://github.com/longshore-dev/velero-plugin#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/plugins/velero-plugin-longshore", "install"]

# The image that Velero's init container runs: it copies the plugin into the
# folder that Velero reads its plugins from. Velero itself starts the plugin,
# within its own image. `make image` builds the binary first.
FROM scratch
COPY bin/velero-plugin-longshore /plugins/velero-plugin-longshore
USER 65532:65532
ENTRYPOINT ["/plugins/velero-plugin-longshore", "install"]

package testbed

// Ceph is a folder with the programs of a Ceph cluster with an S3 gateway, and
// their libraries. Of the C library the machine's own is used, which is why it
// must run the release that the packages are of.
var Ceph = Part{
	Name: "ceph", make: fetchDebian,
	debian: &debianPart{
		release: "bookworm", title: "Debian 12 (bookworm)", of: "radosgw", version: "16.2.15",
		packages: []string{
			"radosgw", "ceph-mon", "ceph-osd", "ceph-base", "ceph-common", "librados2",
			"libaio1", "libblkid1", "libboost-context1.74.0", "libboost-filesystem1.74.0", "libboost-iostreams1.74.0",
			"libboost-thread1.74.0", "libbrotli1", "libbz2-1.0", "libcom-err2", "libcurl3-gnutls", "libdaxctl1", "libexpat1",
			"libffi8", "libfmt9", "libfuse2", "libgcc-s1", "libgmp10", "libgnutls30", "libgssapi-krb5-2", "libhogweed6",
			"libibverbs1", "libicu72", "libidn2-0", "libk5crypto3", "libkeyutils1", "libkmod2", "libkrb5-3",
			"libkrb5support0", "libldap-2.5-0", "libleveldb1d", "liblua5.3-0", "liblz4-1", "liblzma5", "libndctl6",
			"libnettle8", "libnghttp2-14", "libnl-3-200", "libnl-route-3-200", "liboath0", "libp11-kit0", "libpmem1",
			"libpsl5", "librabbitmq4", "librdmacm1", "librtmp1", "libsasl2-2", "libsnappy1v5", "libssh2-1", "libssl3",
			"libstdc++6", "libtasn1-6", "libudev1", "libunistring2", "libuuid1", "libzstd1", "zlib1g",
		},
		programs: []string{
			"usr/bin/radosgw", "usr/bin/radosgw-admin", "usr/bin/ceph-mon", "usr/bin/ceph-osd",
			"usr/bin/ceph-authtool", "usr/bin/monmaptool", "usr/bin/osdmaptool",
		},
	},
}

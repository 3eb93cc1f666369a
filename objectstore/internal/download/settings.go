package download

// Settings are the keys of a location's config that are about what is read.
type Settings struct {
	VerifyDownloads string `key:"verifyDownloads" oneof:"auto,always,never" help:"Compare what is read with what was stored. auto: by a checksum that the storage or this plugin has stored with the object, which costs little, and for small objects by the MD5 in the ETag. always: by the MD5 in the ETag too, which halves the speed. never: only the length is compared. Where nothing else tells, an object that was stored in parts is known by its length and ETag alone."`
}

// Default returns the settings that hold where a location says nothing.
func Default() Settings { return Settings{VerifyDownloads: "auto"} }

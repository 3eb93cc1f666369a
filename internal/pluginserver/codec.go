package pluginserver

import (
	"errors"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// codec is gRPC's codec for protobufs, but for the two messages that carry an
// object's content: those it reads and writes without copying the content. The
// bytes on the wire are the same. Velero sends an object in messages of 16 KiB,
// so that a copy and its garbage are a good part of an upload's cost.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if content, ok := message.(*downloadMessage); ok {
		return content.marshal(), nil
	}
	return c.CodecV2.Marshal(message)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, message any) error {
	if content, ok := message.(*uploadMessage); ok {
		return content.unmarshal(data)
	}
	return c.CodecV2.Unmarshal(data, message)
}

// uploadMessage is a generated.PutObjectRequest: plugin, bucket, key and body
// are its fields 1 to 4.
type uploadMessage struct {
	plugin, bucket, key string
	body                []byte     // within buffer, valid until release
	buffer              mem.Buffer // the message as received
}

var errMalformed = errors.New("malformed PutObjectRequest")

func (m *uploadMessage) unmarshal(data mem.BufferSlice) error {
	m.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	rest := m.buffer.ReadOnlyData()
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if size < 0 {
			return errMalformed
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(rest[n:])
			m.set(number, value)
		}
		rest = rest[n+size:]
	}
	return nil
}

func (m *uploadMessage) set(number protowire.Number, value []byte) {
	switch number {
	case 1:
		assign(&m.plugin, value)
	case 2:
		assign(&m.bucket, value)
	case 3:
		assign(&m.key, value)
	case 4:
		m.body = value
	}
}

// assign allocates only where the text changes: it is the same in every message
// of an upload.
func assign(text *string, value []byte) {
	if *text != string(value) {
		*text = string(value)
	}
}

// release gives the message's memory back. The body must not be used any more.
func (m *uploadMessage) release() {
	if m.buffer != nil {
		m.buffer.Free()
	}
	m.buffer, m.body = nil, nil
}

// downloadMessage is a generated.Bytes, whose only field, number 1, is data.
type downloadMessage struct {
	data mem.Buffer
}

func (m *downloadMessage) marshal() mem.BufferSlice {
	header := protowire.AppendTag(nil, 1, protowire.BytesType)
	header = protowire.AppendVarint(header, uint64(m.data.Len())) //nolint:gosec // a length
	return mem.BufferSlice{mem.SliceBuffer(header), m.data}
}

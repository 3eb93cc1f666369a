package pluginserver

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// codec is gRPC's codec for protobufs, but for the message that carries a
// download's content: that it writes without copying the content. The bytes on
// the wire are the same.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(message any) (mem.BufferSlice, error) {
	if content, ok := message.(*downloadMessage); ok {
		return content.marshal(), nil
	}
	return c.CodecV2.Marshal(message)
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

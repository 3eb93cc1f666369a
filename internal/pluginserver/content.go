package pluginserver

import (
	"errors"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// content is the body of a generated.PutObjectRequest, within the message as it
// was received. Velero sends an object in messages of 16 KiB; the protobuf
// library would copy each into memory of its own, which costs a quarter of an
// upload's processor time.
type content struct {
	body    []byte
	message mem.Buffer
}

// contentCodec is gRPC's codec for protobufs, which can receive a content, too.
type contentCodec struct{ encoding.CodecV2 }

func newContentCodec() contentCodec { return contentCodec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c contentCodec) Unmarshal(data mem.BufferSlice, message any) (err error) {
	received, ok := message.(*content)
	if !ok {
		return c.CodecV2.Unmarshal(data, message)
	}
	received.free()
	received.message = data.MaterializeToBuffer(mem.DefaultBufferPool())
	received.body, err = bodyOf(received.message.ReadOnlyData())
	return err
}

// free gives the memory back. The body must not be used any more.
func (c *content) free() {
	if c.message != nil {
		c.message.Free()
	}
	c.message, c.body = nil, nil
}

// bodyField is the number of PutObjectRequest's field body.
var bodyField = (*generated.PutObjectRequest)(nil).ProtoReflect().Descriptor().Fields().ByName("body").Number()

var errMalformed = errors.New("malformed PutObjectRequest")

// bodyOf returns the body within an encoded PutObjectRequest.
func bodyOf(message []byte) (body []byte, err error) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return nil, errMalformed
		}
		if number == bodyField && kind == protowire.BytesType {
			body, _ = protowire.ConsumeBytes(message[n:])
		}
		message = message[n+size:]
	}
	return body, nil
}

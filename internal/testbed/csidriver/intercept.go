package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// intercept does to each call what the control file says, checks its secrets
// and hands it on. Identity calls pass untouched, since sidecars exit when
// those fail.
func (d *driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	call := callFrom(ctx)
	if call == nil {
		return handler(ctx, req)
	}
	rule, position, err := d.control.use(call)
	if err != nil {
		return nil, rpcError(call.Method, err)
	}
	if rule == nil {
		return d.handle(ctx, req, call, handler)
	}
	call.Rule = &position
	if err := wait(ctx, time.Duration(rule.Delay)); err != nil {
		return nil, err
	}
	failure := rule.failure()
	if failure != nil && !rule.After {
		return nil, failure
	}
	response, err := d.handle(ctx, req, call, handler)
	if err == nil && failure != nil {
		return nil, failure
	}
	return response, err
}

func (d *driver) handle(ctx context.Context, req any, call *callRecord, handler grpc.UnaryHandler) (any, error) {
	settings, err := d.control.read()
	if err != nil {
		return nil, rpcError(call.Method, err)
	}
	for _, required := range []requiredSecrets{d.cfg.secrets, settings.RequireSecrets} {
		if err := required.check(call.Method, secretsOf(req)); err != nil {
			return nil, err
		}
	}
	response, err := handler(ctx, req)
	if err == nil {
		call.ResultID = resultID(response)
	}
	return response, err
}

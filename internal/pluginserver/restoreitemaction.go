package pluginserver

import (
	"context"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/generated/restoreitemaction/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// restoreItemActionServer joins Velero's RestoreItemAction service, version 2, to an
// ItemAction.
type restoreItemActionServer struct {
	riav2.UnimplementedRestoreItemActionServer
	actions *instance[ItemAction]
}

// AppliesTo implements restoreitemaction/v2.RestoreItemActionServer.
func (s *restoreItemActionServer) AppliesTo(_ context.Context, req *riav2.RestoreItemActionAppliesToRequest) (*riav2.RestoreItemActionAppliesToResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*riav2.RestoreItemActionAppliesToResponse, error) {
		return &riav2.RestoreItemActionAppliesToResponse{ResourceSelector: &generated.ResourceSelector{IncludedResources: action.AppliesTo()}}, nil
	})
}

// Execute implements restoreitemaction/v2.RestoreItemActionServer. The item goes back as
// it came, as it is to be restored.
func (s *restoreItemActionServer) Execute(ctx context.Context, req *riav2.RestoreItemActionExecuteRequest) (*riav2.RestoreItemActionExecuteResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*riav2.RestoreItemActionExecuteResponse, error) {
		operation, err := action.Execute(ctx, req.Item, req.Restore)
		return &riav2.RestoreItemActionExecuteResponse{Item: req.Item, OperationID: operation}, err
	})
}

// Progress implements restoreitemaction/v2.RestoreItemActionServer.
func (s *restoreItemActionServer) Progress(ctx context.Context, req *riav2.RestoreItemActionProgressRequest) (*riav2.RestoreItemActionProgressResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*riav2.RestoreItemActionProgressResponse, error) {
		progress, err := action.Progress(ctx, req.OperationID, req.Restore)
		return &riav2.RestoreItemActionProgressResponse{Progress: progress.message(time.Now())}, err
	})
}

// Cancel implements restoreitemaction/v2.RestoreItemActionServer.
func (s *restoreItemActionServer) Cancel(ctx context.Context, req *riav2.RestoreItemActionCancelRequest) (*emptypb.Empty, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*emptypb.Empty, error) {
		return &emptypb.Empty{}, action.Cancel(ctx, req.OperationID, req.Restore)
	})
}

// AreAdditionalItemsReady implements restoreitemaction/v2.RestoreItemActionServer. No
// action has additional items.
func (s *restoreItemActionServer) AreAdditionalItemsReady(context.Context, *riav2.RestoreItemActionItemsReadyRequest) (*riav2.RestoreItemActionItemsReadyResponse, error) {
	return &riav2.RestoreItemActionItemsReadyResponse{Ready: true}, nil
}

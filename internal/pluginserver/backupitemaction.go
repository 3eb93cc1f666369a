package pluginserver

import (
	"context"
	"time"

	"github.com/vmware-tanzu/velero/pkg/plugin/generated"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/generated/backupitemaction/v2"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// backupItemActionServer joins Velero's BackupItemAction service, version 2, to an
// ItemAction.
type backupItemActionServer struct {
	biav2.UnimplementedBackupItemActionServer
	actions *instance[ItemAction]
}

// AppliesTo implements backupitemaction/v2.BackupItemActionServer.
func (s *backupItemActionServer) AppliesTo(_ context.Context, req *biav2.BackupItemActionAppliesToRequest) (*biav2.BackupItemActionAppliesToResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*biav2.BackupItemActionAppliesToResponse, error) {
		return &biav2.BackupItemActionAppliesToResponse{ResourceSelector: &generated.ResourceSelector{IncludedResources: action.AppliesTo()}}, nil
	})
}

// Execute implements backupitemaction/v2.BackupItemActionServer. The item goes back
// as it came.
func (s *backupItemActionServer) Execute(ctx context.Context, req *biav2.ExecuteRequest) (*biav2.ExecuteResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*biav2.ExecuteResponse, error) {
		operation, err := action.Execute(ctx, req.Item, req.Backup)
		return &biav2.ExecuteResponse{Item: req.Item, OperationID: operation}, err
	})
}

// Progress implements backupitemaction/v2.BackupItemActionServer.
func (s *backupItemActionServer) Progress(ctx context.Context, req *biav2.BackupItemActionProgressRequest) (*biav2.BackupItemActionProgressResponse, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*biav2.BackupItemActionProgressResponse, error) {
		progress, err := action.Progress(ctx, req.OperationID, req.Backup)
		return &biav2.BackupItemActionProgressResponse{Progress: progress.message(time.Now())}, err
	})
}

// Cancel implements backupitemaction/v2.BackupItemActionServer.
func (s *backupItemActionServer) Cancel(ctx context.Context, req *biav2.BackupItemActionCancelRequest) (*emptypb.Empty, error) {
	return on(s.actions, req.Plugin, func(action ItemAction) (*emptypb.Empty, error) {
		return &emptypb.Empty{}, action.Cancel(ctx, req.OperationID, req.Backup)
	})
}

// message is the progress as it is now. Velero takes a time that is not set for one
// in 1970.
func (p Progress) message(now time.Time) *generated.OperationProgress {
	started := p.Started
	if started.IsZero() {
		started = now
	}
	return &generated.OperationProgress{
		Completed: p.Done, Err: p.Failure, NCompleted: p.Completed, NTotal: p.Total, OperationUnits: p.Units,
		Description: p.Description, Started: timestamppb.New(started), Updated: timestamppb.New(now),
	}
}

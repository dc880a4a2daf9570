"""Where this package keeps its message types: a pool of its own, so that nothing else in the process can clash.

Protobuf keeps the types of all packages in one pool and refuses two files of one name that differ. The server's own
distribution registers `hearth/v1/*.proto` there, and googleapis-common-protos `google/rpc/*.proto`, each in the release
that happens to be installed. The stubs of this package therefore live in this pool, as they were made.
Well-known types in it read and write like protobuf's own, but are classes apart: fill them in place
(`job.budget.FromSeconds(60)`).
"""

from google.protobuf import any_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
for _file in (any_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)

"""Choose the device, handle out-of-memory errors, report progress, and compute ahead on threads."""

"""Choose devices, handle out-of-memory errors, report progress, look ahead on threads."""

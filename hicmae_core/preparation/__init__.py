"""Raw clips to shards: the manifest, what is in the files, faces and log-mel features of every clip."""

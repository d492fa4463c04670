"""Starting what renders, as a process of this machine or on a deployment, and following it."""

"""DICOMweb (PS3.18) over the node's own archive."""

"""The compiled cores: flat tables in, integers out. They never see a description."""

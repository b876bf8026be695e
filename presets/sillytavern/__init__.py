"""SillyTavern's presets: read, rendered byte for byte as SillyTavern 1.12.6 renders them, and written again.

`documents` reads one instruct, context and sysprompt file in any schema, `rendering` makes prompts of them,
`importing` and `samplings` turn files into formats and samplings of ours, `exporting` writes them back. The
facts (no code) are from SillyTavern 1.12.6 and, for the newer schema, 1.13.3.
"""

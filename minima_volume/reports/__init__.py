"""Results as people and programs read them: text, pictures, web pages and JSON files."""

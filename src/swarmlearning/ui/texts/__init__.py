"""All texts of the UI, in English and German: one file an area, each text in both languages side by side."""

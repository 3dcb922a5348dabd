"""Draw synthetic dermoscopy-like images with their masks.

drawing     one phantom, step by step: `draw_phantom`
lesion      outline, border and pigment of the lesion
artefacts   hair, bubbles, ink, rulers and other distractors
canvas      the image being drawn, and basic marks and textures

The caller passes the generator that all random choices come from.
"""

"""Kinds of SAM, one small file each: other directions, other gradients at w_adv, other radii."""
